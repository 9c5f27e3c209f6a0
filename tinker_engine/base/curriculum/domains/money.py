"""Everyday money matters and insurance: what people ask about purses, fees and cover."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

TEXT = """
# savings club, building society
open savings book, start saving, child savings @savings: {i want to|can i} {start saving|open a savings book} {for my granddaughter|for a bike}; {which|what} {savings plan|savings book} {is best|do you offer} for {kids|a teenager}
interest question, how much interest, rate on savings @savings: {how much|what} {interest|rate} {do i get|is paid} on {savings|[amount]}; when {is|do you add} the interest {paid|for this year}
mortgage question, home loan, buying a house @lending: {we want to|i plan to} buy a {flat|house} {how much could we borrow|}; {what would|how high is} the monthly {rate|repayment} for {a house loan|[amount] over 20 years}
loan deferral, can't pay the instalment, payment break @lending: i {lost my job|am on sick pay} and {can't pay|need a break from} the {loan|instalments}; {can we|is it possible to} {skip|delay} {one|the next} instalment
pay off early, early repayment, clear the debt @lending: {can i|what does it cost to} {pay off|clear} my loan {early|in one go}; {i inherited money|i sold my car} and want to {get rid of|repay} the {debt|loan}
branch appointment, talk to an adviser, meeting @branches: {i'd like|can i get} an appointment {with an adviser|at the [city] branch}; {is|can} {someone|anyone} {free|see me} {[day]|this week} {to talk about my savings|}
statement copies, paper statement, list of movements @records: {i need|please send} {copies of|} my statements {from [month]|for the tax office}; {can i|how do i} {get|switch to} {paper|electronic} statements
power of attorney, act for my mother, access for carer @records: {i look after|i care for} my {father|aunt} {can i|how do i} {sign|act} for {him|her|them} {at the counter|}; {my mother|grandpa} can't {come|sign} anymore {who can act|}
death of customer, my husband died, inheritance @bereavement: my {husband|mother} {died|passed away} {what do i do|} with {the savings|her book}; {how do i|we need to} {close|sort out} {dad's|my late aunt's} {savings|affairs}
bank holiday opening, counter hours, is the branch open @branches: {is|when is} the {branch|counter} {in [city]|} open {on saturday|over the holidays}; {until when|how late} can i {see|reach} {the cashier|someone at the desk}
# credit union card desk, plastic money
card demagnetised, plastic worn out, strip unreadable @plastic: {my plastic|the strip|the chip} is {worn|scratched|bent} and {shops can't read it|no till accepts it}; {i sat on|my dog chewed} my {bank card|plastic} {and it snapped|}
lost purse, handbag robbed, wallet gone @security: {my purse|my handbag} was {stolen|snatched} {on the tram|in [city]} with {all my plastic|everything} in it; i {can't find|left} my wallet {anywhere|in a taxi} please {block everything|stop it}
secret code typed wrongly, code locked, three tries @security: i {typed|entered} {my code|the four digits} wrong {three times|too often} {and now it's locked|}; {can't remember|forgot} {the code|my four numbers} for {the plastic|my bank card}
new plastic still in post, replacement not here, waiting for replacement @plastic: {my replacement|the new one} {was posted|should be here} {[when]|last week} {and still nothing|}; {how many days|how long} {till|before} {the new plastic|a replacement} {comes|gets to [city]}
refused at the shop, till said no, embarrassing at checkout @purchases: the {till|shop|petrol station} {refused|would not take} my {plastic|card} {although i have money|}; {i stood at|it was turned down at} the {supermarket|restaurant} {and had to leave the food|twice}
unknown purchase, i never bought this, stranger used my money @security: {there's|i see} {a purchase|something} {from a shop|of [amount] in [city]} {i have never been to|i don't know}; {someone|a stranger} {spent|used} {[amount] of|} my money {online|in [country]}
double booking, paid twice, same amount two times @purchases: {the shop|a cafe} {took|booked} [amount] {twice|two times}; {i see|there are} two {identical|equal} {bookings|lines} for {one dinner|the same shoes}
spending cap, raise my limit, daily maximum @plastic: {please raise|can i increase} {the maximum|how much i can spend} {per day|for a holiday}; {what's|how high is} my {daily|weekly} {maximum|cap}
tap to pay fails, touch payment, phone wallet @plastic: {holding|tapping} {my phone|the card} {on|at} the {reader|gate} {does nothing|doesn't work}; {how can i|can i} {put|add} my {card|plastic} {in|to} my {watch|phone}
second one for family, partner wants one, for my daughter @plastic: {can my|i'd like one for my} {wife|teenage son|partner} {get one too|also on the same money}; {another|an extra} {one|piece of plastic} for {my husband|the family}
# cash machine network, bank counter
machine kept my card, card not returned, eaten by machine @machines: the {machine|cash point} {at the station|in [city]} {kept|didn't give back|ate} my {card|plastic}; {it pulled|machine pulled} my {plastic|card} in and {went dark|that was it}
notes missing, short by a note, too little money came out @machines: {i asked for|wanted} [amount] and {only got|it gave} {half|one note less}; {machine|it} {counted|paid} {the wrong sum|too little} but {took|booked} the full {sum|amount}
cash point fee, cost for taking money, foreign machine cost @fees: why {did it cost|was i charged} [amount] to {take out money|get notes} {in [country]|}; {is it free|what does it cost} to {get|take out} notes {at other banks|abroad}
machine out of service, no money in machine, broken cash point @machines: the {cash point|machine} {by the market|in our village} is {empty|out of order} {all weekend|again}; {nearest|where is a} {working|} cash point {near [city]|}
coins paying in, jar of coins, change counter @counters: {can i|where can i} {pay in|bring} {a jar of|} coins; {do you count|how much to count} {small change|my kids' coins}
cheque query, cheque bounced, how long cheque takes @counters: {i got|a cousin sent me} a {cheque|paper cheque} {where do i cash it|}; the cheque {bounced|came back} {why|and i owe a fee}
big sum in notes, order notes, take out a lot @counters: i {need|want to take out} [amount] in {notes|cash} {for a used car|}; do i {have to|need to} tell you {before|ahead} when {i take|taking} a {large|big} sum
torn notes, old money, forged note @counters: {can i swap|do you take} {torn|old|burnt} {notes|banknotes}; {i think|maybe} i was given a {fake|forged} {note|fifty}
# money sending, remittance shop
sent to wrong person, typed wrong number, money to stranger @sending: i {sent|wired} [amount] to {the wrong person|a wrong number} {can you stop it|get it back}; {mixed up|got} two digits {wrong|} and the money {went to a stranger|is with someone else}
family did not get money, not there yet, waiting abroad @sending: my {sister|mother} in [country] {has not received|still waits for} {the money|[amount]}; {i sent|it was sent} {money|[amount]} {[when]|on monday} and {it's not there|they have nothing}
sending cost, fee to send, how much do you keep @prices: how much {do you charge|does it cost} to send {[amount]|money} to [country]; you {kept|took} [amount] {in fees|off} {that's a lot|}
stop a sending, undo, call back money @sending: {please stop|can i undo} the {money|[amount]} i {just sent|sent an hour ago}; {i changed my mind|it's a scam} {don't pay it out|call it back}
sending refused, blocked by system, will not go through @sending: {it won't let me|the app refuses to} send {money|[amount]} {to my brother|to [country]}; {sending|it} {failed|came back} {three times|with an error} {why|}
add a receiver, new person, can't add my aunt @receivers: how do i {add|save} {a new person|my landlord} to send {money|}; {it doesn't accept|i can't add} my {cousin|builder} as a {receiver|recipient}
who is paying me, money from abroad, salary not there @incoming: my {salary|wages|pension} {isn't|should have been} there {today|yet}; {what do i give|which details} {so that|does} {my boss in [country]|a client} {can pay me|need}
regular order, monthly sending, standing order stop @sending: {i want to|how do i} {set up|stop} a {monthly|regular} payment {for rent|to my son}; {regular|monthly} order {went out twice|didn't run} {this month|}
daily sending cap, how much can i send, maximum sum @prices: what is the {most|maximum} i can send {a day|to [country]}; {i need to|want to} send {a large sum|[amount]} {for a house|} {is there a cap|}
# bureau de change, travel money
rate today, how much for euros, what do i get @rates: {how many|how much} {yen|euros|dollars|francs} {do i get for|for} [amount] {today|}; what is {today's|your} rate for {pounds|kroner}
rate was bad, got less than shown, unfair rate @rates: {i got|you gave me} {far less|fewer dollars} than {the board|the website} {showed|said}; {abroad|in [country]} {the shop|you} used {a terrible|the wrong} rate
order foreign notes, holiday cash, pick up dollars @orders: {can i order|i need} {[amount] in|some} {yen|rupees|dollars} {for my holiday|by [day]}; {when|where} can i {pick up|collect} my {holiday money|dollars}
leftover coins, sell back, unused notes @counter: do you {buy back|take} {leftover|unused} {dollars|notes|foreign coins}; {i have|we came home with} {a lot of|} {kroner|foreign coins} {left|}
commission, hidden cost, swap fee @rates: {is there|do you take} a {commission|fee} {on|for} {swapping|changing} money; {why|what is} {[amount]|3%} {was taken|this cost} when i {swapped|changed} pounds
which monies, do you have rupees, rare notes @orders: do you {have|sell} {rupees|zloty|pesos}; {which|what} foreign {notes|money} {do you|can i} {keep|hold|have}
travel purse with many monies, hold dollars and yen, multi purse @orders: can i {keep|hold} {dollars and yen|several monies} {in one purse|side by side}; {swap|change} {my euros|pounds} {into dollars|} {inside the app|on my phone}
# gift voucher shop, prepaid purse
voucher empty, gift card no value, balance zero @gift desk: the {gift card|voucher} {my aunt gave me|} {shows zero|is empty}; {how much|what} is {left|still} on my {gift card|voucher}
voucher expired, old gift card, extend voucher @gift desk: my voucher {expired|ran out} {last month|} can i {still use it|get it extended}; is {a|this} {gift card|voucher} from [month] {still valid|}
load the purse, put money on, loading failed @loading: i {loaded|put} [amount] {on|onto} my {purse|prepaid} and {it isn't there|nothing changed}; {how can i|can i} {load|put money on} it {with cash|at a shop|from another bank}
automatic loading, load when low, refill rule @loading: {can it|make it} {refill|load} {by itself|automatically} when {i'm low|it drops under [amount]}; {please stop|turn off} the automatic {refill|loading}
loading cost, fee for loading, why less arrived @loading: {why|is there} {a fee|did i lose [amount]} {when|for} {loading|putting money on} {with a credit card|}; loaded [amount] but {only|just} {[amount]|a bit less} {came|arrived}
loading undone, money went back, load reversed @loading: {my load|the money i put on} {disappeared again|was taken back|went back}; {yesterday|first} it showed [amount] {on my purse|} then {gone|it was removed}
check code for loading, confirm small sum, enter code from slip @loading: {you want|where is} a {code|small sum} to {confirm|check} {my loading|my other card}; {i don't see|can't find} the {code|little amount} {you ask for|on my slip}
one time number for online, throwaway number, web only number @web: {can i|how do i} {get|make} a {throwaway|one time} number for {web shopping|online}; {how many|are there} {throwaway numbers|one time numbers} {can i make|per day}
# customer checks, identity desk
passport photo rejected, id upload, picture not accepted @checks: {the app|it} {rejects|won't accept} the {photo|picture} of my {passport|driving licence}; {i uploaded|i sent} my {id|papers} {three times|[when]} and {it fails|no answer}
why do you need papers, reason for checks, privacy of documents @checks: why {do you need|must i show} my {passport|papers} {just to save money|}; what {do you do|happens} with {the copy of|} my {passport|documents}
where money comes from, proof of income, asked about origin @checks: {you ask|i was asked} where {my money|the [amount]} {comes|came} from {what do i send|}; is {a payslip|a letter from my boss} enough {as proof|}
changed surname, married name, new name @records: i {got married|divorced} {and have|so i have} a new {name|surname}; {please change|how do i change} my {name|last name} {to [person]|in your records}
new phone number, mail address update, moved home @records: i {have|got} a new {phone number|email} {please update|}; {we moved|i live} to {[city]|a new street} {where do i change it|}
how old to join, can a teenager, child joining @joining: can my [number] year old {join|have one}; {how old|what age} {must i be|does one need to be} {to join|for signing up}
which countries, live abroad, can i join from abroad @joining: {i live in|i'm moving to} [country] can i {join|stay a customer}; {do you|which} {serve|countries do you serve} {people in [country]|}
leave for good, close everything, delete me @joining: {please|i want to} {close everything|delete my profile} {i'm unhappy|}; {how do i|can i} {leave|quit} and {get my money out|have my data removed}
phone lost with app, stolen mobile, app on old phone @security: {my phone|my mobile} with {your|the} app {is gone|was stolen|fell in a lake}; {lost my|someone took my} mobile {can they|and now they may} {get into|see} my money
app code forgotten, can't get in, login word @security: {i forgot|can't remember} {the word|what i chose} to {open|get into} the app; the app {doesn't take|rejects} my {password|secret word} {any more|}
# insurance, insurer
report car accident, crash, someone hit me @motor claims: {someone|a van} {drove|crashed} into my {parked|} car; i {had an accident|hit a deer} {[when]|on the way home} {what do i do now|}
water damage claim, burst pipe cover, flooded kitchen @home claims: {the dishwasher|a pipe} {flooded|leaked all over} {the kitchen|our flat} {is that covered|}; {our cellar|the carpet} was {under water|ruined} {after the storm|}
burglary claim, bike theft, things stolen @home claims: {someone|burglars} {broke in|stole my bike} {last night|while we slept}; {my bicycle|our tv} was stolen {from the cellar|} {do you pay|}
claim status, when will you pay, waiting for decision @claims desk: {any news|what is happening} {on|with} my claim {number [number]|}; i {sent|handed in} {the photos|all papers} {[when]|} and {heard nothing|still wait}
premium increase, why dearer, price went up @policies: why {did|has} my premium {gone up|rise} {by [amount]|}; {cheaper elsewhere|another insurer is cheaper} {can you do better|}
add driver, daughter drives, insure my son @policies: {can i|please} add my {son|daughter} {to the car|as a driver}; {is my|would my} {friend|wife} be covered {if they drive|driving my car}
end policy, sold the car, leave insurer @policies: i {sold|scrapped} my car {please end the policy|}; {want to|how do i} {leave|end} my {home|travel} {policy|cover}
medical abroad, ill on holiday, travel cover @travel: {i broke|my wife broke} {a leg|an arm} {skiing|in [country]} {who pays|}; {am i|are we} covered {if we get ill|for a doctor} in [country]
proof of cover, green card, certificate @policies: {i need|please send} {a proof of cover|a letter} for {my landlord|the border|the embassy}; {where is|lost} my insurance {certificate|paper}
pet cover, vet bill, dog operation @pets: {do you pay|is} {the vet|an operation} {covered|} for my {cat|old dog}; my {dog|cat} {ate a sock|was hit by a car} {vet costs [amount]|}
glass damage, windscreen chip, cracked windscreen @motor claims: {a stone|gravel} {hit|cracked} my windscreen; {there's a|small} {chip|crack} in the {glass|windscreen} {where can i fix it|}
# payroll, wages office
payslip missing, no payslip, wage slip @payslips: {i didn't get|where is} my {payslip|wage slip} {for [month]|}; {can't open|can't download} the {payslip|file} {you sent|}
overtime unpaid, extra hours, shift pay wrong @pay queries: {my overtime|the night shifts} {wasn't paid|are missing} {in [month]|}; i worked [number] hours {more|} and {got|was paid} {for less|nothing extra}
tax code, too much deducted, wrong tax class @tax: {why was|you took} {so much tax|too much} {deducted|} {this month|}; my tax {code|class} is {wrong|still the old one}
new account for wages, change where pay goes @details: please {send|pay} my {wages|salary} to {another bank|a new account} {from [month]|}; {i changed banks|new bank} what {form|do you need}
holiday left, days off balance, vacation count @leave: how many {days off|vacation days} do i {have|still have} {left|}; {my leave|the count} {is wrong|shows two days less}
sick note, absence, doctor's letter @leave: {where do i send|here is} my {sick note|doctor's letter}; i was {ill|in hospital} {[when]|} {do i still get paid|}
advance, pay early, salary before friday @pay queries: {can i|is it possible to} {get|have} {an advance|part of my pay early}; {my car broke|rent is due} {i need|can i get} [amount] {before payday|}
expense claim, mileage, travel costs back @expenses: when {are|do you pay} my {expenses|travel costs} {from [month]|}; {how do i|where to} {claim|hand in} {mileage|a hotel bill}
# tax office
filing deadline, extension, hand in later @returns: {until when|by when} {must i|do i have to} {file|hand in} my {return|tax papers}; {can i get|i need} {more time|an extension} {i was ill|}
refund of tax, when do i get money, tax back @assessments: when {do i|will i} get {my tax back|the tax refund}; {i filed|sent everything} {in [month]|} {and no money yet|}
assessment wrong, appeal tax, i disagree @assessments: {your|the} {assessment|notice} {is wrong|ignores my child}; i {disagree|want to object} {because|} {you counted|} {income twice|my rent as income}
tax number, id lost, i need my number @records: {what is|i lost} my tax number; {my new employer|the landlord} {wants|needs} my tax {number|id}
pay in parts, can't pay tax, instalment plan @collections: i {can't pay|don't have} {the [amount]|it all at once} {can i pay in parts|}; {please agree to|is} {monthly parts|a plan} {possible|} for my tax {debt|}
"""
