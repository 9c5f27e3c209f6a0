"""Schools, health, software, town services and workplaces: what people write about."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

TEXT = """
# school, secondary school
sick child, absence today, won't come to class @school office: my {son|daughter} {has a fever|is ill} and {stays home|won't be in} {today|[day]}; {please excuse|sorry for} {[person]'s|my child's} absence {[when]|}
lunch at school, canteen money, meal plan @canteen: {how do i|can i} {pay for|cancel} {school lunch|meals} {[day]|}; my {daughter|son} {can't eat pork|is vegetarian} {what does the canteen offer|}
bullying, mobbing, child is teased @pastoral care: my {son|daughter} {is teased|gets pushed} {every day|on the bus}; {other kids|a boy in class [number]} {hit|mock} {my child|him} {and nobody acts|}
homework help, too much homework, falling behind @teaching: {far too much|no} homework {this week|} ; {she is|he is} falling behind in {maths|french} {is there|do you offer} {extra help|tutoring}
parent meeting, talk to teacher, report card talk @teaching: {can i|when can we} {meet|talk to} {the maths teacher|[person]'s teacher}; when is the next {parents' evening|report meeting}
enrolment, new pupil, change school @school office: {we move|we're moving} to [city] {how do i|can i} {enrol|register} {my kids|my son}; {is there|are there} {a place|places} in year [number]
school bus missed, late bus pupils, pick-up stop @transport: the school bus {forgot|left without} {my daughter|the kids}; {can the bus|is it possible to} stop {nearer|at our road}
lost jacket, lost property school, missing bag @school office: {my son|my daughter} lost {his jacket|her gym bag} {at school|in the sports hall}; {has anyone|did someone} {found|hand in} {a red lunchbox|a flute}
# university, student office
exam registration, sign up for exam, deadline for exam @exams: {i forgot to|how do i} {register|sign up} for the {statistics|law} exam; {missed|is it too late for} the exam {deadline|registration}
grade appeal, wrong mark, exam review @exams: my {grade|mark} {in chemistry|} {is wrong|can't be right}; {i want to|when can i} {see|review} my exam {paper|}
tuition instalment, fees late, semester fee @finance office: {can i|may i} pay the {tuition|semester fee} {in parts|later}; {i paid|you got} the semester fee {twice|late} {what now|}
dorm room, student housing, roommate trouble @housing: {how long is|am i on} the waiting list for {a dorm|a room}; my roommate {smokes|never cleans} {can i move|}
scholarship, grant, study money @funding: {am i eligible|how do i apply} for {a grant|a scholarship}; when {is|do you pay} the {grant|scholarship} {paid|for this term}
certificate of study, transcript, proof of enrolment @records: {i need|please send} {a transcript|proof that i study here} {for my visa|for the bus pass}; where can i {print|get} my {student certificate|transcript}
student login, campus account, portal locked out @it service: {can't get into|locked out of} the {student portal|campus mail}; {my student card|my badge} {doesn't open|isn't accepted at} the {lab|library} door
# clinic, doctor's practice
book visit, see the doctor, new appointment @appointments: {i need|can i get} {an appointment|to see the doctor} {today|[day]|this week} {for my back|for a rash|}; {when can|is it possible that} {dr [person]|someone} {sees|see} {me|my baby}
move visit, reschedule appointment, can't come to doctor @appointments: i {can't come|have to work} [day] {can we|please} {move|shift} my appointment; {cancel|i must cancel} {my|the} {check-up|visit} {i feel better|}
repeat prescription, medicine refill, run out of tablets @prescriptions: {i've run out of|i need more of} my {tablets|blood pressure pills|inhaler}; {can you|please} {renew|send} {the|my} prescription {to the pharmacy|}
test result, blood test, lab values @results: {are|when do i get} my {blood|lab|x-ray} results {there|}; {what does|is} {this value|my iron} {mean|too low}
referral, specialist letter, see a specialist @prescriptions: i need a {referral|letter} {to a skin doctor|for the knee specialist}; {can you|will you} {refer|send} me to {a heart specialist|physio}
pain now, urgent symptom, is it an emergency @triage: {i have|my husband has} {strong chest pain|trouble breathing} {what should i do|}; {my baby|my mum} {fell on her head|won't wake up properly}
vaccination, travel jab, flu shot @vaccines: {do you|when do you} {give|offer} {flu shots|travel jabs}; {which|what} {vaccines|jabs} do {i|we} need for [country]
medical bill query, clinic invoice, insurance did not pay doctor @practice accounts: {i got a bill|there's an invoice} {for a visit i missed|of [amount]} {why|}; my insurance {won't pay|refused} your {bill|invoice}
medical records, copy of file, new practice @records: {i'm changing doctors|we moved} {please send|can i have} my {file|records}; {can i|i want to} {see|have a copy of} {what's in|} my {notes|file}
side effect, reaction to drug, rash from tablets @triage: {since i take|after} {the new pills|the jab} i {feel dizzy|have a rash|can't sleep}; {is it normal|is it ok} {that|if} {the medicine makes me|these tablets make me} {sick|tired}
# dentist, dental surgery
toothache, broken tooth, lost filling @urgent dental: {my tooth|a back tooth} {hurts|is killing me} {since [when]|at night}; {a filling|half my tooth} {fell out|broke off}
cleaning visit, check-up teeth, hygiene appointment @appointments: {time for|i'd like} {a check-up|my teeth cleaned}; {how much is|do you do} {a cleaning|whitening}
braces, aligner, loose wire @orthodontics: {a wire|a bracket} {came loose|pokes} {on my braces|}; {how long|does} {do i need|my daughter need} {braces|the aligner}
fear of dentist, sedation, scared @care: i'm {terrified|so scared} of {the drill|dentists} {can you put me to sleep|}; {do you|is there} {use|} {laughing gas|something to calm me}
# vet, animal clinic
sick pet, dog vomiting, cat won't eat @urgent animals: my {dog|puppy} {keeps vomiting|ate chocolate}; {the cat|our rabbit} {won't eat|hides and shakes} {since [when]|}
pet vaccination, puppy shots, passport for pet @prevention: {when does|what} {our puppy|the kitten} {need|} {shots|jabs}; {i need|can i get} a {pet passport|chip} {for [country]|}
neuter, castration, pet operation date @surgery: {how much|when} {is it to|can you} {neuter|spay} {our cat|a dog}; {can he|may she} eat before the {operation|surgery}
pet food advice, overweight dog, diet @nutrition: {my dog|the cat} is {too fat|itching} {which|what} {food|diet} {helps|is best}; {how much|how often} {should|do i} {feed|give} {a kitten|an old dog}
lost animal, found cat, runaway dog @lost animals: {our cat|my dog} {ran away|is missing} {since [when]|}; i {found|picked up} a {kitten|injured bird} {by the road|}
# software, cloud app
app crashes, program closes, freezes on launch @bugs: the {app|program} {crashes|closes|hangs} {when i click export|after the last update|on start}; {since the update|today} {nothing loads|it just quits}
feature wish, suggestion, please add dark mode @product ideas: {please add|it would be great to have} {a dark mode|keyboard shortcuts|a calendar view}; {any plans|do you plan} to {support|add} {offline use|two languages}
sync problem, files not updating, missing changes @sync: {my changes|the files} {don't|won't} {sync|show up} {on my other laptop|for my team}; {it shows|i see} {an old version|two copies} {of the document|}
export data, download everything, move my files out @data: how {do i|can we} {export|get out} {all our data|everything} {as csv|before we leave|}; the export {is empty|stops at 90%}
import fails, upload error, cannot load file @data: {importing|upload of} {my contacts|a spreadsheet} {fails|ends with an error}; it {rejects|can't read} my {file|csv} {row [number]|}
add colleague, invite team, more seats @workspace: how do i {invite|add} {a colleague|my team}; {we need|can i buy} {[number] more seats|another licence}
permission denied, no rights, access role @workspace: i {can't edit|am not allowed to open} {the folder|our board}; {who can|please} {give me|change} {admin rights|my role}
two step code, authenticator, new phone no codes @sign-in: i {changed|lost} my phone and {get no codes|the authenticator is gone}; {how do i|can't} {turn off|set up} the {second step|login code}
api limit, integration, webhook @developers: {our|the} {api calls|webhook} {return an error|hit a limit} {since [when]|}; {how do i|where do i} {get|find} {a token|the docs} for {your api|the integration}
invoice for subscription, licence renewal, wrong seats billed @subscriptions: we were {billed|charged} for [number] seats but {use|have} {only half|fewer}; {when does|how do i stop} {the licence|our plan} renew{|ing}
# office it, workplace technology
laptop slow, computer hangs, needs restart @devices: my {laptop|computer} {is very slow|hangs|needs ten minutes to start} {since [when]|}; {fan is loud|it gets hot} and {everything freezes|word crashes}
printer jam, no toner, print queue @printers: {the printer|printer on floor [number]} {is jammed|has no toner|prints stripes}; {my print jobs|documents} {never come out|stay in the queue}
remote tunnel, work from home connection, can't reach drive @connectivity: {from home|since [when]} i {can't reach|lose} the {shared drive|intranet}; the {tunnel|remote desktop} {drops|won't connect} {every hour|}
new starter, equipment for colleague, set up newcomer @onboarding: {a new colleague|someone new} starts [day] and needs {a laptop|accounts and a desk}; {please set up|who prepares} {mail|a phone} for {[person]|our trainee}
suspicious mail, phishing, strange link @threats: i {got|clicked} {a strange link|an odd attachment} {in a mail from the boss|}; {is this mail real|this looks like a scam} {it asks for my login|}
screen, mouse, keyboard, second monitor @devices: my {mouse|keyboard|headset} {is broken|stopped working}; {can i get|i need} {a second screen|a new chair|an adapter}
meeting room screen, projector not working, video call sound @rooms: {the screen|the camera} in {room [number]|the big meeting room} {stays dark|isn't found}; {nobody hears us|no sound} in {calls|the video meeting}
install program, software request, need a licence for tool @applications: {please install|i need} {a drawing program|a pdf editor} {on my pc|}; {my licence|the tool} {expired|asks for admin rights}
badge lost, door access, card for entrance @premises: {i lost|i forgot} my {badge|entry card}; my badge {doesn't open|is refused at} the {garage|third floor}
desk move, office chair, cold office @premises: {it's freezing|far too hot} {in our office|at my desk}; {lamp|blind|socket} {at my desk|in room [number]} {is broken|flickers}
# town hall, city services
street light out, lamp broken, dark road @roads: {the street light|lamp} {in front of my house|on [person] street} {is out|blinks}; {it's pitch dark|all lamps are off} {on our way to school|in the park}
pothole, damaged road, cracked pavement @roads: {there's|you have} {a huge pothole|a broken kerb} {on my street|near the school}; i {fell|damaged a wheel} because of {the cracked pavement|a hole}
new passport application, travel papers, renew id @citizens: {i need|how do i get} a {passport|child passport} {before [month]|}; {what do i bring|how long does it take} {to renew my papers|until a passport is ready}
parking permit, resident parking, visitor permit @parking: {how do i|can i} {get|renew} a {resident|visitor} permit; {someone|a van} {parks|stands} {in front of my garage|on the disabled space}
register address, moved to town, new resident @citizens: {i moved here|we just moved} {where do i|how do i} register; {what papers|do i} need {to register|an appointment} {my new address|}
wedding date, marriage office, birth certificate @registry: {we want to|can we} get married {in [month]|} {which papers|}; {i need|please send} {a birth|a marriage} certificate {for my son|}
dog tax, register a dog, lost dog tag @citizens: {i got a puppy|we have a dog} {how much is the|where do i pay} dog tax; {my dog|he} {died|moved with me} please {end|change} the {dog tax|tag}
building permission, garden shed, fence height @planning: {do i need|is there} permission {for a shed|to build a carport}; how high {may|can} {my fence|a wall} be
playground broken, dirty park, graffiti @parks: {the swing|a bench} in {the park|our playground} is {broken|sprayed}; {there is|someone left} {glass|rubbish} {on the playground|by the pond}
noise from works, building site, bar noise complaint @public order: {the building site|the bar} {starts at 5|is loud until 3}; {can you do|who stops} {something about|} {leaf blowers|the music} {on sundays|at night}
# job agency, recruitment
job application, apply, send my cv @applications: {i'd like to apply|here is my cv} for the {driver|cook} job; {did you get|have you read} my {application|letter}
interview date, move interview, job talk @applications: {can we|i need to} {move|shift} {my|the} interview {to [day]|}; {where|when} is {the|my} interview {and what do i bring|}
job offer, salary question, contract terms @contracts: what {is the pay|are the hours} for the {warehouse|night} job; {i got your offer|the contract} {when must i decide|says something else}
benefits, out of work, register unemployed @claims: i {lost my job|was let go} {what do i do first|}; {when do i get|how much is} {the benefit|support} {per month|}
training course, retrain, learn new job @courses: {can you pay|is there money} for {a course|retraining}; i want to {become a nurse|learn welding} {who helps|}
# charity, donations
donation receipt, gift confirmation, tax receipt for gift @donors: {i need|please send} a receipt for {my gift|the [amount] i gave}; {no receipt came|where's the receipt} for {last year|my donation}
stop giving, end monthly gift, pause donation @donors: {i have to|please} {stop|pause} my monthly {gift|donation} {i retired|}; {took it|you debited} {twice|too much} {this month|}
volunteer, help out, offer time @volunteers: i {want to|can} {help|volunteer} {at weekends|with the elderly}; {do you need|where can i} {drivers|help} {[day]|}
donate clothes, give furniture, old toys @goods: {can i|where do i} {bring|give} {clothes|toys|a sofa}; {do you|can someone} {pick up|collect} {furniture|boxes of books}
where does my money go, spending, how are gifts used @donors: {how much|what share} of {a gift|my donation} {reaches|goes to} {the children|the project}; {what happened|news} {with|from} the well in [country]
# nursery, childcare
place request, waiting list nursery, when can we start @places: {do you have|is there} a {place|spot} for {a two year old|twins} {from [month]|}; {where are we|any news} on the waiting list
pick up later, other person collects, grandma collects @daily care: {grandma|my brother} {will pick up|collects} {[person]|our son} today; {i'm stuck in traffic|train late} {i'll be|} {20 minutes|half an hour} late {for pickup|}
nap and food, does not eat, sleeping at nursery @daily care: {did|does} {she|he} {nap|eat} {today|well}; {please don't|can you} {let him sleep|give her milk} {after two|}
fever at nursery, lice, contagious child @health: {she has|my son has} {spots|lice|a runny nose} {can she come|do i keep him home}; {is there|who has} {chickenpox|a stomach bug} {in the group|}
# farm shop, garden centre
plant dying, yellow leaves, pests @plant advice: my {tomatoes|roses|lemon tree} {have yellow leaves|are dying} {what can i do|}; {there are|i see} {lice|tiny flies} on {my herbs|the orchids}
veg box, weekly box, skip this week box @boxes: please {skip|pause} {my|the} {veg box|box} {next week|while we're away}; {no beetroot|fewer potatoes} {in the box|please}
tree delivery, big plant, soil delivery @delivery: {can you|do you} {deliver|bring} {a tree|[number] bags of soil}; the {hedge|olive tree} {arrived|came} {dry|broken}
when to plant, sowing, pruning @plant advice: when {do i|should i} {plant|prune|sow} {tulips|the apple tree|carrots}; {is it too late|too early} to {plant|sow} {beans|a hedge}
lawn mower service, tool repair, sharpen blades @workshop: my {mower|chainsaw} {won't start|is blunt}; {how long|how much} is {a service|sharpening} for {my mower|shears}
# newspaper, magazine
paper not delivered, missing issue, wet newspaper @circulation: {no paper|my newspaper didn't come} {this morning|again}; {the paper|magazine} {arrives|comes} {wet|too late} {every day|}
pause the paper, holiday stop, send paper elsewhere @circulation: {please stop|can you pause} the paper {from [month]|while we travel}; {send|deliver} {it|the paper} to {our holiday flat|my neighbour}
correct an article, mistake in story, letter to editor @newsroom: {your article|the story} {about the bridge|on page [number]} {is wrong|has my name wrong}; {i'd like to|please} {answer|print} {the column|my letter}
small ad, place a notice, obituary @adverts: {how much is|i want to place} {a small ad|an obituary}; {my ad|the notice} {was printed|appeared} {wrong|too late}
digital paper, e-paper login, read online @digital: {can't open|how do i read} the {e-paper|digital edition}; {i pay for|have} {print|paper} {is online included|}
"""
